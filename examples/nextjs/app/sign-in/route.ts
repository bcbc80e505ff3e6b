import { store } from '../../store.ts'

export async function POST(request: Request): Promise<Response> {
  const session = await store.get(request, 'sid')
  const { user } = (await request.json()) as { user: string }
  session.userId = user // whose password you have checked
  const response = Response.json({ signedIn: user })
  await store.regenerate(request, response, session)
  return response
}
