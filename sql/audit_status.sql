-- Whether the history is on, how long it is kept, and for each consumer of endings how many wait and since when the oldest does.
-- One row for each consumer; one with a null consumer where there is none.
create or replace function :PGSTORE_SCHEMA.audit_status()
  returns table (
    status text,
    keep interval,
    consumer text,
    waiting bigint,
    oldest_at timestamptz
  )
  language plpgsql
  volatile parallel unsafe rows 5
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
    select
      case when a.is_on then 'on' else 'off' end,
      a.keep,
      c.name,
      (select count(*) from :PGSTORE_SCHEMA.ending_deliveries as d where d.consumer = c.name),
      (
        select h.happened_at
        from :PGSTORE_SCHEMA.ending_deliveries as d
        join :PGSTORE_SCHEMA.history as h on h.id = d.id
        where d.consumer = c.name
        order by d.id
        limit 1
      )
    from :PGSTORE_SCHEMA.audit as a
    left join :PGSTORE_SCHEMA.ending_consumers as c on c.name <> ''
    order by c.name;
end
$$;
comment on function :PGSTORE_SCHEMA.audit_status() is
  'Whether the history is on, how long it is kept, and how many endings wait for each consumer.';
