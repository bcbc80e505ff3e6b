/** Signs the cookies of programs that the tests start, as the harness's does theirs. */
export const hashKey = 'an example hash key of 32 bytes!'
