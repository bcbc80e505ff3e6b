export * from 'uvu/assert'
