import { randomBytes } from 'node:crypto'
import { type Command, print } from './command.ts'

export const keyCommand: Command = {
  name: 'key',
  summary: 'print a new key to sign cookies with',
  details: `32 random bytes as 43 characters, for the store's option "keys". Keep it with your other secrets, for example in the
environment, and out of the repository: PGStore.open({ …, keys: [process.env.SESSION_KEY] }). Use the text as it is; there is nothing
to decode. To rotate, put a new key before the old one, on all servers: keys: [newKey, oldKey]. Drop the old one after maxAge. No
database is needed.

  SESSION_KEY=$(npx pgstore key)`,
  async run({ json }) {
    const key = randomBytes(32).toString('base64url')
    print(json ? JSON.stringify({ key }) : key)
    // Separate from the key, so that a shell's $(…) takes only the key.
    if (!json) process.stderr.write('Keep it secret, for example as SESSION_KEY: keys: [process.env.SESSION_KEY]\n')
  },
}
