-- How the table stands, for whoever watches over it: counts, sizes, and how well updates and vacuuming go.
--
-- What it reads is bounded, whatever the table's size: of a table of more than p_pages pages it takes a random sample of as
-- many, and is_estimate says so; of the index it reads at most 10,000 expired entries. Sizes, and what the statistics
-- collector knows, cost next to nothing.
--
-- used_bytes is what the rows take up, as far as they are in the table itself: much less than table_bytes is bloat.
create or replace function :PGSTORE_SCHEMA.session_stats(
  p_pages integer default 1000,
  out live bigint,
  out expired bigint,
  out anonymous bigint,
  out is_estimate boolean,
  out oldest_expired_at timestamptz,
  out table_bytes bigint,
  out used_bytes bigint,
  out index_bytes bigint,
  out total_bytes bigint,
  out updates bigint,
  out heap_only_updates bigint,
  out dead_rows bigint,
  out vacuumed_at timestamptz,
  out migration text
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set enable_seqscan = off
  set enable_bitmapscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_most constant integer := 10000;
  v_table constant regclass := ':PGSTORE_SCHEMA.sessions';
  v_pages bigint;
  v_percent real;
  v_expired bigint;
  v_ended bigint;
begin
  table_bytes := pg_relation_size(v_table);
  index_bytes := pg_indexes_size(v_table);
  total_bytes := pg_total_relation_size(v_table);
  updates := pg_stat_get_tuples_updated(v_table);
  heap_only_updates := pg_stat_get_tuples_hot_updated(v_table);
  dead_rows := pg_stat_get_dead_tuples(v_table);
  vacuumed_at := greatest(pg_stat_get_last_vacuum_time(v_table), pg_stat_get_last_autovacuum_time(v_table));

  v_pages := table_bytes / current_setting('block_size')::integer;
  v_percent := least(100, 100.0 * greatest(p_pages, 1) / greatest(v_pages, 1));
  is_estimate := v_percent < 100;
  select
    count(*) filter (where s.is_live),
    count(*) filter (where s.is_live and s.user_id is null),
    count(*) filter (where s.expires_at <= statement_timestamp()),
    count(*) filter (where s.expires_at > statement_timestamp() and not s.is_live),
    -- A row's fixed part, its key and the page's pointer to it take 100 bytes; data beyond some 2,000 lives elsewhere.
    coalesce(sum(100 + coalesce(octet_length(s.user_id), 0) + coalesce(pg_column_size(s.former_keys), 0) + least(pg_column_size(s.data), 2000)), 0)
  into live, anonymous, v_expired, v_ended, used_bytes
  from (
    select
      s.expires_at > statement_timestamp()
        and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate) as is_live,
      s.expires_at,
      s.user_id,
      s.former_keys,
      s.data
    from :PGSTORE_SCHEMA.sessions as s tablesample system (v_percent)
  ) as s;
  live := round(live * 100 / v_percent);
  anonymous := round(anonymous * 100 / v_percent);
  used_bytes := round(used_bytes * 100 / v_percent);

  -- Few among many would not show in a sample, so they are counted, up to a limit.
  select count(*)
  into expired
  from (
    select
    from :PGSTORE_SCHEMA.sessions as s
    where s.purge_at <= statement_timestamp()
    order by s.purge_at
    limit v_most
  ) as counted;
  if expired = v_most then
    expired := greatest(expired, round(v_expired * 100 / v_percent));
    is_estimate := true;
  end if;
  -- What a mark ended has not expired, and waits to be purged all the same.
  expired := expired + round(v_ended * 100 / v_percent);

  select s.expires_at
  into oldest_expired_at
  from :PGSTORE_SCHEMA.sessions as s
  where s.purge_at <= statement_timestamp()
  order by s.purge_at
  limit 1;

  -- A host that applies our SQL by its own means may have left the ledger out.
  if to_regclass(':PGSTORE_SCHEMA.migrations') is not null then
    select m.name
    into migration
    from :PGSTORE_SCHEMA.migrations as m
    order by m.name desc
    limit 1;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_stats(integer) is
  'How the table stands: counts (estimated from a sample of p_pages pages when the table is larger), sizes, heap-only updates, vacuuming, and the newest migration.';
