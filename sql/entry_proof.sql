-- Proof that session_enter wrote a note in this very transaction: a keyed digest of the process, the transaction's start and the note.
-- Hashed twice under the two halves of the secret, as HMAC does, so that no proof can be extended.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.entry_proof(p_proving_key bytea, p_note text)
  returns text
  language sql
  stable parallel restricted
as $$
  select pg_catalog.encode(
    pg_catalog.sha256(
      pg_catalog.substr(p_proving_key, 33) || pg_catalog.sha256(
        pg_catalog.substr(p_proving_key, 1, 32)
          || pg_catalog.int4send(pg_catalog.pg_backend_pid())
          || pg_catalog.timestamptz_send(pg_catalog.transaction_timestamp())
          || pg_catalog.convert_to(p_note, 'UTF8')
      )
    ),
    'hex'
  )
$$;
comment on function :PGSTORE_SCHEMA.entry_proof(bytea, text) is
  'Proof that a note was written in this transaction; internal.';
