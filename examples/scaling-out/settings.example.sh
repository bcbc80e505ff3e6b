# Settings for grow.sh, read by bash: 2 partitions become 4. All URLs as a superuser; in an array the order is that of the partitions.

# The databases as they are, p0 first; as the new ones reach them, if they need another way: sources=(…).
old=(postgres://postgres@db0/sessions postgres://postgres@db1/sessions)
# Twice as many, empty, set up like any partition: `npx pgstore migrate`, `npx pgstore grant`. The new k takes from the old k modulo 2.
new=(postgres://postgres@db0/sessions0 postgres://postgres@db1/sessions1
  postgres://postgres@db2/sessions2 postgres://postgres@db3/sessions3)
# The same as the proxies reach them, in the words of the foreign server's options.
addresses=('host=db0 dbname=sessions0' 'host=db1 dbname=sessions1' 'host=db2 dbname=sessions2' 'host=db3 dbname=sessions3')
# Every proxy, and the console of every PgBouncer in front of one, with the name of the proxy's database there.
proxies=(postgres://postgres@proxy0/sessions postgres://postgres@proxy1/sessions)
bouncers=(postgres://pgbouncer@bouncer0:6432/pgbouncer postgres://pgbouncer@bouncer1:6432/pgbouncer)
database=sessions
# The foreign server's name on the proxies, and the schema: pgstore, unless you say otherwise.
server=pgstore schema=pgstore
