#!/usr/bin/env bash
# N partitions behind PL/Proxy become 2 N, while visitors come and go: grow.sh SETTINGS. docs/scaling-out.md, "Growing", says what it
# needs and what it does; settings.example.sh beside this file shows the settings. It may be run again after a failure: until the
# switch nothing has changed for anybody, and it cleans up what it had begun, what was copied included.
set -euo pipefail
source "$1"
: "${schema:=pgstore}" "${server:=pgstore}" "${most_seconds:=1}" "${tries:=20}"
n=${#old[@]}
[[ ${#new[@]} == $((2 * n)) && ${#addresses[@]} == $((2 * n)) ]] || { echo "new and addresses must be $((2 * n))" >&2; exit 2; }
mask=$((2 * n - 1))

q() { psql -XqAt -v ON_ERROR_STOP=1 -d "$@"; }
each() { # runs a function with each number below $1 at once, and fails if one failed
  local pids=() failed=0 k
  for ((k = 0; k < $1; k++)); do "$2" "$k" & pids+=($!); done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  return "$failed"
}
seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.2f", b - a }'; }

# What the new partition k takes from the old one, k modulo N.
publish() {
  local k=$1 from=${old[$1 % n]}
  q "$from" > /dev/null << SQL
create publication grow_$k for table
  $schema.sessions where ((get_byte(key, 0) & $mask) = $k),
  $schema.bindings where ((session_id & $mask) = $k),
  $schema.watermark,
  $schema.marks,
  $schema.history where ((id & $mask) = $k),
  $schema.ending_deliveries where ((id & $mask) = $k),
  $schema.ending_consumers where (name <> '');
select pg_create_logical_replication_slot('grow_$k', 'pgoutput');
SQL
}
subscribe() { # the slot is there already: made by the subscription, it would wait for itself where both are one server
  local k=$1 from=${sources[$1 % n]:-${old[$1 % n]}}
  q "${new[$k]}" -c "create subscription grow_$k connection '$from' publication grow_$k with (create_slot = false, slot_name = grow_$k)"
}
until_copied() {
  local k=$1
  until [[ $(q "${new[$k]}" -c "select count(*) from pg_subscription_rel where srsubstate <> 'r'") == 0 ]]; do sleep 1; done
}
until_near() { # little is left to send: the pause waits for that little alone
  local k=$1 behind="select coalesce(max(pg_current_wal_lsn() - replay_lsn), 1e9) < 1e6 from pg_stat_replication where application_name = 'grow_$1'"
  until [[ $(q "${old[$k % n]}" -c "$behind") == t ]]; do sleep 0.2; done
}
forget() { # whatever there is of it
  local k=$1
  if [[ $(q "${new[$k]}" -c "select count(*) from pg_subscription where subname = 'grow_$k'") == 1 ]]; then
    q "${new[$k]}" -c "alter subscription grow_$k disable" -c "alter subscription grow_$k set (slot_name = none)" \
      -c "drop subscription grow_$k"
  fi
  q "${old[$k % n]}" > /dev/null << SQL
drop publication if exists grow_$k;
select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'grow_$k' and active;
do \$\$
begin
  for i in 1 .. 100 loop
    exit when not exists (select from pg_replication_slots where slot_name = 'grow_$k' and active);
    perform pg_sleep(0.1);
  end loop;
  perform pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'grow_$k';
end
\$\$;
SQL
}

# Connections that are open before the pause, so that no program has to start in it: psql reads from a pipe and answers into another.
declare -A asking=() answering=()
folder=$(mktemp -d)
connect() { # name, URL
  mkfifo "$folder/$1.in" "$folder/$1.out"
  psql -XqAt -d "$2" < "$folder/$1.in" > "$folder/$1.out" 2>&1 &
  exec {asking[$1]}> "$folder/$1.in" {answering[$1]}< "$folder/$1.out"
}
ask() { printf '%s;\n\\echo -- answered\n' "$2" >&"${asking[$1]}"; }
answer() { # of one connection, into $answer, within $2 seconds, a whole number; fails with it where it is an error
  local line part='' end=$((${EPOCHREALTIME/./} + $2 * 1000000))
  answer=''
  while ((${EPOCHREALTIME/./} < end)); do
    if ! read -r -t 0.2 -u "${answering[$1]}" line; then # what has come of a line is kept
      part+=$line
      continue
    fi
    line=$part$line part=''
    [[ $line != '-- answered' ]] || { [[ $answer != *ERROR:* ]] || { echo "$1: $answer" >&2; return 1; }; return 0; }
    answer+=$line$'\n'
  done
  echo "$1: no answer in $2 s" >&2
  return 1
}
all_answer() { # names beginning with $1, each within $2 seconds
  local name failed=0
  for name in "${!asking[@]}"; do [[ $name != "$1"* ]] || answer "$name" "$2" || failed=1; done
  return "$failed"
}
connect_all() {
  local k
  for ((k = 0; k < ${#bouncers[@]}; k++)); do connect "pause$k" "${bouncers[$k]}"; connect "resume$k" "${bouncers[$k]}"; done
  for ((k = 0; k < ${#proxies[@]}; k++)); do connect "proxy$k" "${proxies[$k]}"; done
  for ((k = 0; k < n; k++)); do connect "old$k" "${old[$k]}"; done
  for ((k = 0; k < 2 * n; k++)); do connect "new$k" "${new[$k]}"; done
  for k in "${!asking[@]}"; do [[ $k == pause* || $k == resume* ]] && ask "$k" 'show version' || ask "$k" 'select 1'; done
  all_answer '' 30
}
disconnect_all() {
  local k
  for k in "${!asking[@]}"; do
    eval "exec ${asking[$k]}>&- ${answering[$k]}<&-"
    rm "$folder/$k.in" "$folder/$k.out"
  done
  asking=() answering=()
}

pause() {
  local k
  for ((k = 0; k < ${#bouncers[@]}; k++)); do ask "pause$k" "pause $database"; done
  all_answer pause "$most_seconds"
}
resume() { # by another connection: the first may still wait for its PAUSE
  local k failed=0
  for ((k = 0; k < ${#bouncers[@]}; k++)); do ask "resume$k" "resume $database"; done
  for ((k = 0; k < ${#bouncers[@]}; k++)); do
    answer "resume$k" 60 2> "$folder/said" || grep -q 'not paused' "$folder/said" || { cat "$folder/said" >&2; failed=1; }
  done
  return "$failed"
}
# While nothing is written: waits until both halves have all that the old partition has, then lets their numbers go on from its own.
catch_up() {
  local k
  for ((k = 0; k < n; k++)); do
    ask "old$k" "select set_config('grow.lsn', pg_logical_emit_message(true, 'grow', '')::text, false) as lsn \gset
do \$\$
begin
  for i in 1 .. $most_seconds * 100 loop
    perform pg_stat_clear_snapshot();
    if (select count(*) = 2 from pg_stat_replication
        where application_name in ('grow_$k', 'grow_$((k + n))') and replay_lsn >= current_setting('grow.lsn')::pg_lsn) then
      return;
    end if;
    perform pg_sleep(0.01);
  end loop;
  raise 'not caught up in $most_seconds s';
end
\$\$;
select format('select setval(%L, %s, %L);', '$schema.session_number', last_value, is_called) from $schema.session_number
union all
select format('select setval(%L, %s, %L);', '$schema.announcement', last_value, is_called) from $schema.announcement
union all
select format('select setval(%L, %s, %L);', '$schema.history_number', last_value, is_called) from $schema.history_number"
  done
  local numbers half failed=0
  for ((k = 0; k < n; k++)); do
    answer "old$k" $((most_seconds + 1)) || { failed=1; continue; }
    numbers=$answer
    for half in "$k" $((k + n)); do # marks of session_end_before have come as rows: from here on they are looked for
      ask "new$half" "$numbers set jit = off; select $schema.purge_marked(0)"
    done
  done
  ((failed == 0)) && all_answer new 2
}
options=$(for ((k = 0; k < 2 * n; k++)); do
  printf "%s%s p%d '%s'" "$([[ $k == 0 ]] || echo ', ')" "$( ((k < n)) && echo set || echo add)" "$k" "${addresses[$k]//\'/\'\'}"
done)
switch() {
  local k
  for ((k = 0; k < ${#proxies[@]}; k++)); do ask "proxy$k" "alter server $server options ($options)"; done
  all_answer proxy 5
}
rehearse() { # and notes how to undo it
  q "${proxies[$1]}" > "$folder/way_back$1" << SQL
select format('alter server %I options (%s)', srvname, string_agg(format('set %s %L', split_part(o, '=', 1),
  substr(o, strpos(o, '=') + 1)), ', ') || (select string_agg(', drop p' || k, '') from generate_series($n, $((2 * n - 1))) as k))
from pg_foreign_server, unnest(srvoptions) as o where srvname = '$server' and o ~ '^p[0-9]+=' group by srvname;
begin;
alter server $server options ($options);
rollback;
SQL
}
switch_back() {
  local isNew="select srvoptions::text ~ '[{,\"]p$((2 * n - 1))=' from pg_foreign_server where srvname = '$server'"
  [[ $(q "${proxies[$1]}" -c "$isNew") == f ]] || q "${proxies[$1]}" -f "$folder/way_back$1"
}
check() { # empty, and of the same version as the old ones
  local k=$1 version="select string_agg(name, ',' order by name) from $schema.migrations"
  [[ $(q "${new[$k]}" -c "select exists (select from $schema.sessions) or exists (select from $schema.history) or exists (select from $schema.marks)") == f ]] || { echo "new partition $k is not empty" >&2; return 1; }
  [[ $(q "${new[$k]}" -c "$version") == $(q "${old[$k % n]}" -c "$version") ]] || { echo "new partition $k: other migrations" >&2; return 1; }
}
prepare() { # the old one's watermark comes; the walk through the table for it begins anew
  local k=$1
  q "${new[$k]}" -c "delete from $schema.watermark"
  q "${new[$k]}" -c "update $schema.audit set $(q "${old[$k % n]}" -c "select format('is_on = %L, keep = %L', is_on, keep) from $schema.audit")"
}
close() { q "${old[$1]}" -c "alter database \"$(q "${old[$1]}" -c 'select current_database()')\" set default_transaction_read_only = on"; }

empty() { # again, as it was found
  q "${new[$1]}" << SQL
truncate $schema.sessions, $schema.bindings, $schema.watermark, $schema.marks, $schema.history, $schema.ending_deliveries;
delete from $schema.ending_consumers where name <> '';
insert into $schema.watermark (everybody) values ('-infinity');
SQL
}

state=looking
leave() {
  [[ $state != stuck && ${#asking[@]} -gt 0 ]] && resume
  ((${#asking[@]} == 0)) || disconnect_all
  if [[ $state == looking || $state == copying ]]; then # an earlier run that was killed may have left a slot, which keeps the WAL
    each $((2 * n)) forget && [[ $state == copying ]] && each $((2 * n)) empty
  fi
  rm -r "$folder"
}
trap 'set +e; leave' EXIT
trap 'exit 1' INT TERM

each "${#proxies[@]}" rehearse
each $((2 * n)) check
state=copying
each $((2 * n)) prepare
each $((2 * n)) publish
t=$EPOCHREALTIME
each $((2 * n)) subscribe
each $((2 * n)) until_copied
echo "copied in $(seconds_since "$t") s"
for ((try = 1; ; try++)); do
  each $((2 * n)) until_near
  connect_all
  t=$EPOCHREALTIME
  if pause && catch_up; then break; fi
  resume
  echo "resumed after $(seconds_since "$t") s: not yet" >&2
  disconnect_all
  ((try < tries)) || { echo 'given up; nothing has changed' >&2; exit 1; }
  sleep 5
done
if ! switch; then # some may have been: all proxies must agree before anything goes on
  state=stuck
  each "${#proxies[@]}" switch_back || { echo 'Proxies disagree: set their options alike, then RESUME each PgBouncer.' >&2; exit 1; }
  state=copying
  exit 1
fi
state=switched # from here on the new ones may have what the old ones have not
resume
echo "paused for $(seconds_since "$t") s"
disconnect_all
each $((2 * n)) forget
each "$n" close
echo 'done: the old databases take no more writes; drop them when you have looked at them'
