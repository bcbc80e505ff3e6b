// A certificate for https://localhost, made when it is needed: none in the repository that expires, and no program that makes one.
// Node reads X.509 and writes none; this is as much DER as one of version 3 takes (RFC 5280).
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'

export interface Certificate {
  /** Both in PEM, as `https.createServer` takes them. */
  readonly key: string
  readonly cert: string
  /** What Chromium's --ignore-certificate-errors-spki-list takes: it treats the certificate as one without an error. */
  readonly spkiHash: string
}

export function selfSigned(): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const algorithm = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02)) // ecdsa-with-SHA256
  const name = sequence(tlv(0x31, sequence(oid(0x55, 0x04, 0x03), tlv(0x0c, Buffer.from('localhost'))))) // CN
  const day = 86_400_000
  const validity = sequence(utcTime(Date.now() - day), utcTime(Date.now() + day))
  const alternative = tlv(0x04, sequence(tlv(0x82, Buffer.from('localhost'))))
  const extensions = sequence(sequence(oid(0x55, 0x1d, 0x11), alternative)) // subjectAltName
  const version = tlv(0xa0, tlv(0x02, Buffer.of(2)))
  const serial = tlv(0x02, Buffer.concat([Buffer.of(1), randomBytes(8)]))
  const signed = sequence(version, serial, algorithm, name, validity, name, spki, tlv(0xa3, extensions))
  const signature = tlv(0x03, Buffer.concat([Buffer.of(0), sign('sha256', signed, privateKey)]))
  const der = sequence(signed, algorithm, signature).toString('base64')
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${der.replace(/.{1,64}/g, '$&\n')}-----END CERTIFICATE-----\n`,
    spkiHash: createHash('sha256').update(spki).digest('base64'),
  }
}

/** Its tag, its length, its value. */
function tlv(tag: number, value: Buffer): Buffer {
  const { length } = value
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...size), value])
}

function sequence(...parts: Buffer[]): Buffer {
  return tlv(0x30, Buffer.concat(parts))
}

function oid(...bytes: number[]): Buffer {
  return tlv(0x06, Buffer.from(bytes))
}

function utcTime(time: number): Buffer {
  const digits = new Date(time).toISOString().replace(/\.\d+|\D/g, '')
  return tlv(0x17, Buffer.from(`${digits.slice(2)}Z`))
}
