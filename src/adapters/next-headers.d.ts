// What pgstore/next uses of Next.js, whose packages are too big to be installed for their types.
declare module 'next/headers.js' {
  export function cookies(): Promise<{
    get(name: string): { readonly value: string } | undefined
    set(name: string, value: string, options: object): unknown
    set(cookie: { readonly name: string; readonly value: string }): unknown
  }>
  export function headers(): Promise<{ get(name: string): string | null }>
}
