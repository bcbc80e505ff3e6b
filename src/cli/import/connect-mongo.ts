// connect-mongo: a collection of { _id: sid, session: JSON text, or an object with `stringify: false`, expires: Date }.
import { PGStoreError } from '../../errors.ts'
import { recordItem } from './lines.ts'
import { batchSize, type Item, type Source } from './source.ts'

interface Document {
  readonly _id: unknown
  readonly session?: unknown
  readonly expires?: unknown
}

/** What this uses of the package `mongodb`, from version 4 on. */
interface MongoClient {
  connect(): Promise<unknown>
  close(): Promise<void>
  db(): {
    collection(name: string): {
      estimatedDocumentCount(): Promise<number>
      find(filter: object, options: object): AsyncIterable<Document>
    }
  }
}

/** Not written in the import, so that the package is needed by nobody else, for its types neither. */
const driver = 'mongodb'

/**
 * @param url with the name of the database
 * @throws {PGStoreError} `invalid_option` without the package `mongodb` or for what is not its URL; `unavailable`
 */
export async function connectMongo(url: string, collectionName = 'sessions'): Promise<Source> {
  const { MongoClient } = (await import(driver).catch(() => {
    throw new PGStoreError('invalid_option', 'Reading MongoDB needs the package mongodb: npm install mongodb')
  })) as { MongoClient: new (url: string, options: object) => MongoClient }
  let client: MongoClient
  try {
    client = new MongoClient(url, { serverSelectionTimeoutMS: 5000, appName: 'pgstore import' })
  } catch {
    throw new PGStoreError('invalid_option', 'The URL of the old store must begin with mongodb:// or mongodb+srv://.')
  }
  try {
    await client.connect()
  } catch (error) {
    await client.close()
    throw mongoError(error)
  }
  return mongoSource(client, collectionName)
}

export function mongoSource(client: MongoClient, collectionName: string): Source {
  const collection = client.db().collection(collectionName)
  return {
    total: () => collection.estimatedDocumentCount().catch(() => 0),
    async *batches() {
      let batch: Item[] = []
      try {
        const options = { batchSize, projection: { session: 1, expires: 1 } }
        for await (const { _id, session, expires } of collection.find({}, options)) {
          batch.push(recordItem(_id, session, expires))
          if (batch.length < batchSize) continue
          yield batch
          batch = []
        }
      } catch (error) {
        throw mongoError(error)
      }
      if (batch.length > 0) yield batch
    },
    close: () => client.close(),
  }
}

/** The driver's messages can quote the URL's host, and no more of it than its name: its own name and code say enough. */
function mongoError(error: unknown): PGStoreError {
  const { name, codeName } = error as { name?: unknown; codeName?: unknown }
  const isRefusal = codeName === 'Unauthorized' || codeName === 'AuthenticationFailed'
  const said = [name, codeName].filter((text) => typeof text === 'string').join(', ')
  return new PGStoreError(isRefusal ? 'forbidden' : 'unavailable', `MongoDB: ${said || 'no connection'}`)
}
