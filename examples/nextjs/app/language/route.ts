import { store } from '../../store.ts'

export async function POST(request: Request): Promise<Response> {
  const session = await store.get(request, 'sid')
  const { language } = (await request.json()) as { language: string }
  session.values.language = language
  const response = Response.json({ language })
  await store.save(request, response, session)
  return response
}
