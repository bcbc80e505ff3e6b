import { startPostgres } from '../scripts/postgres.ts'
import { pgstoreSystem, rawSystem, sessionCount } from './systems.ts'
const server = await startPostgres({ settings: { shared_buffers: '512MB', max_wal_size: '4GB' } })
const s = await pgstoreSystem(server.url())
const raw = await rawSystem(server.url())
const st = await pgstoreSystem(server.url(), {batch:false}, 'unbatched')
async function load(op:(i:number)=>Promise<void>, n:number, ms:number){ let ops=0; const end=performance.now()+ms; const c0=process.cpuUsage(); const t0=performance.now(); const lat:number[]=[]; await Promise.all(Array.from({length:n},async()=>{ while(performance.now()<end){ const t=performance.now(); await op((Math.random()*sessionCount)|0); lat.push(performance.now()-t); ops++ } })); const cu=process.cpuUsage(c0); lat.sort((a,b)=>a-b); return {ops:(ops/((performance.now()-t0)/1000))|0, cpu:+((cu.user+cu.system)/ops).toFixed(1), p10:+lat[lat.length/10|0].toFixed(3), p50:+lat[lat.length>>1].toFixed(3), p99:+lat[(lat.length*.99)|0].toFixed(2)} }
for (let r=0;r<4;r++) for (const x of [s,st,raw]) console.log('read 1',x.name,JSON.stringify(await load(i=>(x as any).read(i),1,800)))
await s.close(); await raw.close(); await st.close(); await server.stop()
