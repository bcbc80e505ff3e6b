import { store } from '../../store.ts'

export async function POST(request: Request): Promise<Response> {
  const response = Response.json({ signedOut: true })
  await store.destroy(request, response, await store.get(request, 'sid'))
  return response
}
