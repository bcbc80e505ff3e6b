import { store } from '../../store.ts'

export async function POST(request: Request): Promise<Response> {
  const session = await store.get(request, 'sid')
  const { theme } = (await request.json()) as { theme: string }
  session.values.theme = theme
  const response = Response.json({ theme })
  await store.save(request, response, session)
  return response
}
