import { store } from '../../store.ts'

export async function POST(request: Request): Promise<Response> {
  const session = await store.get(request, 'sid')
  if (session.userId === undefined) return Response.json({ error: 'Sign in first.' }, { status: 401 })
  return Response.json({ ended: await store.revoke(session.userId, { except: session }) })
}
