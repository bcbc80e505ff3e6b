import { store } from '../store.ts'

export async function GET(request: Request): Promise<Response> {
  const session = await store.get(request, 'sid')
  session.values.visits = (session.values.visits ?? 0) + 1
  const response = Response.json({ userId: session.userId, ...session.values })
  await store.save(request, response, session)
  return response
}
