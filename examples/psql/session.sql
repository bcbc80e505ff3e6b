-- Sessions from psql, and so from any language: this is plain SQL.
--
--   npx pgstore migrate --database-url "$DATABASE_URL"
--   psql -v ON_ERROR_STOP=1 -X -f examples/psql/session.sql "$DATABASE_URL"
--
-- It leaves nothing behind, and purges what has expired in this database.

\set QUIET on
\pset footer off
\pset null '-'

-- A token is 32 random bytes in base64url: 43 characters that only the visitor's cookie holds. A program draws it itself and
-- never sends it to the server; here the server draws it, because psql has no random numbers.
select rtrim(translate(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64'), '+/', '-_'), '=')
  as token \gset
-- The key is the token's SHA-256. A program computes that itself too, and sends only the key. "::bytea" below selects the
-- form for one key: get, save and destroy take an array of keys as well.
select pgstore.session_key(:'token') as key \gset

\echo 'Create: version 0 asks for a new session. It belongs to user 42 and lives 30 days.'
select status, version, data
from pgstore.session_save(:'key'::bytea, '{"theme": "dark", "visits": 1}', p_version => 0, p_user_id => 'example 42');

\echo 'Merge: only the keys that changed are sent, set or unset; the others are left alone.'
select status, version
from pgstore.session_save(:'key'::bytea, '{"visits": 2, "cart": ["tea"]}', p_unset => '{theme}');

\echo 'Get: one row while the session lives, then no row.'
select version, user_id, data
from pgstore.session_get(:'key'::bytea);

\echo 'Compare: with a version, a save succeeds only if no other save came first. Otherwise it shows the stored data.'
select status, version, data
from pgstore.session_save(:'key'::bytea, '{"visits": 99}', p_version => 1);

\echo 'Touch: nothing to change; the session lives longer, and its version stays.'
select status, version
from pgstore.session_save(:'key'::bytea, p_ttl => '60 days');

\echo 'Regenerate: the session moves to a new token, at sign-in for example. The old one is dead at once.'
-- A program draws new tokens until the first byte of the key is the same again: the session then stays on its shard, if there
-- are several.
select rtrim(translate(encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64'), '+/', '-_'), '=')
  as new_token \gset
select pgstore.session_key(:'new_token') as new_key \gset
select status, version
from pgstore.session_regenerate(:'key'::bytea, :'new_key'::bytea);
select status as "a save with the old key"
from pgstore.session_save(:'key'::bytea, '{"visits": 3}');

\echo 'List: the live sessions of a user, newest first, without their keys.'
select version, data, expires_at > now() + interval '29 days' as "lives a month"
from pgstore.session_list('example 42', p_data => true);

\echo 'Revoke: all sessions of the user end; a number would end only one, a key would spare one.'
select pgstore.session_revoke('example 42') as revoked;

\echo 'A save never brings back an ended session.'
select status
from pgstore.session_save(:'new_key'::bytea, '{"visits": 4}');

\echo 'Purge: a session that lives one millisecond is due a moment later.'
select status
from pgstore.session_save(:'key'::bytea, p_ttl => '1 millisecond', p_version => 0);
do $$ begin perform pg_sleep(0.01); end $$;
select pgstore.count_expired() >= 1 as "some are due";

-- One batch deletes up to a thousand, the oldest first: call it until it returns less than that.
select pgstore.purge_expired() >= 1 as "some are purged";
select pgstore.count_expired() as due;
