-- Turns holds of one key and one revision into charges and appends their records, all or none, if the chain
-- still ends where the caller believes. Tolerance of the records' time: milliseconds.
-- KEYS: account, events, holds, leases, held images, calls, calls by age, paid images of the revision, revisions,
--       usage by day
-- ARGV: end seq, end head, time of the records, tolerance, revision,
--       then for each settlement: hold id or '' (a replay), charges, replayed, images to pay, record, hash
-- Out: {'settled', budget, remaining} or {refusal, ...}: unknown; rolled_back; revoked;
--      moved, chain end, now (the chain went on, or the time is off); gone, positions of holds that are gone

local account_key, events, holds, leases, held_images, calls, calls_by_age, paid, revisions, days = unpack(KEYS)
local now, at_ms, revision = now_ms(), tonumber(ARGV[3]), ARGV[5]
local account = read_account(account_key)
local seq = tonumber(ARGV[1])
if not still_has(account, events, seq, ARGV[2]) then return { 'rolled_back' } end
if account == nil then return { 'unknown' } end
if account.revoked == 1 then return { 'revoked' } end

local start = window_start_ms(account)
local in_time = at_ms >= start and (math.abs(now - at_ms) <= tonumber(ARGV[4]) or at_ms == start)
if account.seq ~= seq or not in_time then return { 'moved', chain_end(account), now } end

local gone, charged, to_pay, named = {}, 0, {}, {}
for at = 6, #ARGV, 6 do
  local hold_id = ARGV[at]
  if hold_id ~= '' then
    local lease = redis.call('ZSCORE', leases, hold_id)
    local hold = redis.call('HGET', holds, hold_id)
    local lives = lease and tonumber(lease) > now and hold and string.match(hold, '^%d+') == ARGV[at + 1]
    if not lives or named[hold_id] then gone[#gone + 1] = (at - 6) / 6 end
    named[hold_id] = true -- settled twice at once: the second finds it gone, as it would have later
  end
  charged = charged + tonumber(ARGV[at + 1])
  for _, image in ipairs(images_in(ARGV[at + 3])) do to_pay[#to_pay + 1] = image end
end
if #gone > 0 then return { 'gone', gone } end

-- What cannot happen while the rules hold; should they ever not, nothing is charged and nothing delivered.
local current = math.max(account.window_index, window_index(account.window, at_ms))
local used_in_window = (current > account.window_index and 0 or account.used_in_window) + charged
if used_in_window + account.held - charged > account.budget then
  return redis.error_reply('BROKEN a settlement would overspend')
end
if account.billing == 'distinct' then
  local seen = {}
  local before = in_chunks('HMGET', paid, to_pay)
  for at, image in ipairs(to_pay) do
    if before[at] or seen[image] then return redis.error_reply('BROKEN an image would be charged twice') end
    seen[image] = true
  end
  if not paid_is_whole(account_key, paid, revision) then
    return redis.error_reply('BROKEN images that were paid are no longer on record')
  end
end

for at = 6, #ARGV, 6 do
  local _, call = take_hold(holds, leases, held_images, ARGV[at])
  if call and call ~= '' then
    local seen = redis.call('HGET', calls, call)
    redis.call('HSET', calls, call, '- ' .. string.match(seen, '^%S+ (.*)$'))
    if account.billing == 'distinct' then redis.call('ZADD', calls_by_age, now, call) end
  end
  seq = seq + 1
  redis.call('XADD', events, string.format('1-%d', seq), 'record', ARGV[at + 4], 'hash', ARGV[at + 5])
  account.head = ARGV[at + 5]
  local day = string.format('%d', math.floor(at_ms / WINDOW_MS.day))
  redis.call('HINCRBY', days, day .. ' requests', 1)
  redis.call('HINCRBY', days, day .. ' charged', ARGV[at + 1])
  redis.call('HINCRBY', days, day .. ' replayed', ARGV[at + 2])
end
if #to_pay > 0 then
  redis.call('SADD', revisions, revision)
  if account.billing == 'distinct' then
    local once = {}
    for _, image in ipairs(to_pay) do
      once[#once + 1] = image
      once[#once + 1] = 1
    end
    in_chunks('HSET', paid, once)
  else
    for _, image in ipairs(to_pay) do redis.call('HINCRBY', paid, image, 1) end
  end
  redis.call('HSET', account_key, 'paid ' .. revision, redis.call('HLEN', paid))
end
redis.call('HSET', account_key, 'seq', seq, 'head', account.head, 'used', account.used + charged,
  'window_index', current, 'used_in_window', used_in_window, 'held', account.held - charged)
return { 'settled', account.budget, account.budget - used_in_window - (account.held - charged) }
