import { startPostgres } from '../scripts/postgres.ts'
import { rawSystem } from './systems.ts'
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { PGStore } from '../src/index.ts'
import { Database } from '../src/database.ts'
import { BatchedDatabase, defaultBatchLimits } from '../src/batch.ts'
import { StatementPool } from '../src/statement.ts'
import { readToken } from '../src/cookie.ts'
import { sessionKey, newToken } from '../src/token.ts'
const server = await startPostgres({ settings: { shared_buffers: '512MB' } })
const store = await PGStore.open({ connectionString: server.url(), keyPairs: [randomBytes(32)] })
const res: any = { headersSent:false, h:{} as any, getHeader(n:string){return this.h[n.toLowerCase()]}, setHeader(n:string,v:any){this.h[n.toLowerCase()]=v} }
const s = await store.new({headers:{}}, 'sid'); s.values = {user:{id:1,name:'x',roles:['a']}, csrf: randomBytes(32).toString('hex'), cart:[{sku:'a',count:1},{sku:'b',count:2}], agent:'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', visits:0}
await store.save({headers:{}}, res, s)
const cookie = res.h['set-cookie'][0].split(';')[0]
const req = {headers:{cookie}}
const codecs = store.codecs
const token = readToken(req,'sid',codecs)!.token; const key = sessionKey(token)
function cpu(name:string, f:()=>void, n=20000){ let best=1e9; for(let r=0;r<15;r++){ const t=performance.now(); for(let i=0;i<n;i++) f(); best=Math.min(best,(performance.now()-t)/n*1000)} console.log(name.padEnd(36), best.toFixed(2),'us') }
cpu('readToken (cookie+verify)', ()=>{readToken(req,'sid',codecs)})
cpu('sessionKey', ()=>{sessionKey(token)})
cpu('codec.decode', ()=>{codecs[0]!.decode('sid', cookie.slice(4))})
const pool = new pg.Pool({connectionString: server.url(), max: 2}); pool.on('error',()=>{})
const pool2 = new pg.Pool({connectionString: server.url(), max: 2}); pool2.on('error',()=>{})
const sp = new StatementPool(pool as any, true)
const db = new Database(sp, 'pgstore'), bdb = new BatchedDatabase(sp,'pgstore',defaultBatchLimits)
await pool2.query('create table raw(key bytea primary key, data jsonb)'); await pool2.query('insert into raw select key,data from pgstore.sessions')
const rawq={name:'r',text:'select data from raw where key = $1'}
const fn={name:'f',text:'select data from pgstore.session_get($1::bytea)'}
const text='select id, user_id, data, version, date_part(\'epoch\',created_at), date_part(\'epoch\',updated_at), date_part(\'epoch\',expires_at), date_part(\'epoch\',now()) from pgstore.session_get($1::bytea)'
const full={name:'g',text}
const ops: Record<string,()=>Promise<unknown>> = {
 'raw pg select': ()=>pool2.query({...rawq, values:[key]}),
 'pg fn data only': ()=>pool2.query({...fn, values:[key]}),
 'pg fn all columns': ()=>pool2.query({...full, values:[key], rowMode:'array'}),
 'StatementPool raw': ()=>sp.query({text:rawq.text, values:[key]} as any),
 'StatementPool fn data': ()=>sp.query({text:fn.text, values:[key]} as any),
 'Database.get': ()=>db.get(key),
 'BatchedDatabase.get': ()=>bdb.get(key),
 'store.new': async()=>{ (await store.new(req,'sid')).values },
}

import { openPool } from '../src/pool.ts'
import { checkCookie } from '../src/save.ts'
import { Session } from '../src/session.ts'
const op = openPool({connectionString: server.url()}); const op2 = openPool({connectionString: server.url(), query_timeout: 0}); 
const opb = new BatchedDatabase(new StatementPool(op as any, true),'pgstore',defaultBatchLimits)
const opb2 = new BatchedDatabase(new StatementPool(op2 as any, true),'pgstore',defaultBatchLimits)
Object.assign(ops, {'openPool batched': ()=>opb.get(key), 'openPool no timeout': ()=>opb2.get(key), 'store.new again': async()=>{ (await store.new(req,'sid')).values }})
cpu('new Session+checkCookie', ()=>{ checkCookie(new Session(store as any,'sid',store.options as any)) })

const parts: number[][] = [[],[],[],[]]
import { createHmac, createSecretKey, hash } from 'node:crypto'
const hk = createSecretKey(randomBytes(32))
Object.assign(ops, {'parts': async()=>{ const a=performance.now(); const tk=readToken(req,'sid',codecs)!.token; const b=performance.now(); const k=sessionKey(tk); const c=performance.now(); await opb.get(k); const d=performance.now(); createHmac('sha256',hk).update(cookie).digest(); const e=performance.now(); parts[0]!.push(b-a); parts[1]!.push(c-b); parts[2]!.push(d-c); parts[3]!.push(e-d) }})
const lat: Record<string,number[]> = {}
for (let r=0;r<12;r++) for (const [n,f] of Object.entries(ops)) { const l = lat[n]??=[]; for(let i=0;i<400;i++){ const t=performance.now(); await f(); l.push(performance.now()-t)} }
for (const [n,l] of Object.entries(lat)) { l.sort((a,b)=>a-b); console.log(n.padEnd(26), 'min',(l[50]!*1000).toFixed(0),'p25',(l[l.length>>2]!*1000).toFixed(0),'p50',(l[l.length>>1]!*1000).toFixed(0)) }
for (const l of parts) { l.sort((a,b)=>a-b); console.log('part', (l[50]!*1000).toFixed(1), (l[l.length>>2]!*1000).toFixed(1), (l[l.length>>1]!*1000).toFixed(1)) }
await store.close(); await op.end(); await op2.end(); await pool.end(); await pool2.end(); await server.stop()
