-- Whether a label and tags can be kept with a session: a label of at most 512 bytes as jsonb is printed; at most 16 tags of 1 to 255
-- bytes, none of them null. For the functions of this schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.valid_label(p_label jsonb, p_tags text[])
  returns boolean
  language plpgsql
  immutable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return (p_label is null or octet_length(p_label::text) <= 512)
    and (
      p_tags is null
      or p_tags = '{}'
      or array_ndims(p_tags) = 1
      and cardinality(p_tags) <= 16
      and array_position(p_tags, null) is null
      and (select bool_and(octet_length(t.tag) between 1 and 255) from unnest(p_tags) as t (tag))
    );
end
$$;
comment on function :PGSTORE_SCHEMA.valid_label(jsonb, text[]) is
  'Whether a label and tags can be kept with a session; internal.';
