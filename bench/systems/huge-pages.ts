// Memory for the benchmarked Postgres, as on a dedicated server. A backend that touches a page of 4 kB for the first time pays a
// page fault, which costs more than reading a session, and a table of gigabytes is full of such pages: hence huge pages.
import fs from 'node:fs'
import os from 'node:os'

const megabyte = 2 ** 20

/** Megabytes: a quarter of the machine's memory, as Postgres' manual advises, and no more than the largest table here needs. */
export const sharedBuffersMb: number = Math.max(128, Math.min(6144, Math.floor(os.totalmem() / 4 / megabyte)))

const reserved = '/proc/sys/vm/nr_hugepages'

/**
 * Reserves huge pages for Postgres' shared memory, until the returned function is called or this process ends: as root, under
 * Linux, if as much again stays free. Otherwise Postgres uses pages of the usual size.
 */
export function reserveHugePages(): () => void {
  const wanted = sharedBuffersMb * 1.05 + 128
  let before: string
  try {
    const info = fs.readFileSync('/proc/meminfo', 'utf8')
    const megabytes = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(info)?.[1]) / 1024
    if (!(megabytes('MemAvailable') > 2 * wanted)) return () => {}
    before = fs.readFileSync(reserved, 'utf8')
    fs.writeFileSync(reserved, String(Number(before) + Math.ceil(wanted / megabytes('Hugepagesize'))))
  } catch {
    return () => {} // another system, or not root: `huge_pages_status` among the results' facts says so
  }
  const release = () => {
    process.off('exit', release)
    fs.writeFileSync(reserved, before)
  }
  process.once('exit', release)
  return release
}
