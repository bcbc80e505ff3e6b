-- PUBLIC may execute every new function unless that is taken back. Last in every migration.
revoke all on schema :PGSTORE_SCHEMA from public;
revoke all on all tables in schema :PGSTORE_SCHEMA from public;
revoke all on all sequences in schema :PGSTORE_SCHEMA from public;
revoke all on all functions in schema :PGSTORE_SCHEMA from public;
