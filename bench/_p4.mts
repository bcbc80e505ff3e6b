import { SecureCookie } from '../src/codec.ts'
import { createHmac, createSecretKey, randomBytes, hash } from 'node:crypto'
import { newToken, sessionKey } from '../src/token.ts'
const k=randomBytes(32), hk=createSecretKey(k)
const c = new SecureCookie(k); const tok=newToken(); const v = c.encode('sid', tok)
function cpu(name:string, f:()=>void, n=20000){ let best=1e9; for(let r=0;r<25;r++){ const t=performance.now(); for(let i=0;i<n;i++) f(); best=Math.min(best,(performance.now()-t)/n*1000)} console.log(name.padEnd(36), best.toFixed(2),'us') }
cpu('decode', ()=>{c.decode('sid', v)})
cpu('encode', ()=>{c.encode('sid', tok)})
const msg='sid|'+v
cpu('createHmac', ()=>{createHmac('sha256',hk).update(msg).digest()})
cpu('hash', ()=>{hash('sha256',msg,'buffer')})
const b=Buffer.from(msg)
cpu('hash buf', ()=>{hash('sha256',b,'buffer')})
cpu('sessionKey', ()=>{sessionKey(tok)})
