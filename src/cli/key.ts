import { randomBytes } from 'node:crypto'
import { type Flags, print } from './command.ts'

export async function printKey({ json }: Flags): Promise<void> {
  const key = randomBytes(32).toString('base64url')
  print(json ? JSON.stringify({ key }) : key)
  // Separate from the key, so that a shell's $(…) takes only the key.
  if (!json) process.stderr.write('Keep it secret, for example as SESSION_KEY: keys: [process.env.SESSION_KEY]\n')
}
