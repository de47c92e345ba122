-- Holds one query for each image that must be paid: all or none. Lease: milliseconds.
-- KEYS: account, events, holds, leases, held images, calls, paid images of the revision, usage by day
-- ARGV: seen seq, seen head, hold id, lease, idempotency key or '', body digest, revision, images,
--       images that may be replayed in a day: at least, and for each query of the budget,
--       shortest and longest wait to advise, milliseconds
-- Out: {'held' | 'replay', chain end, expires at, one '1' (to pay) or '0' for each image}
--      or {refusal, ...}: unknown; rolled_back; revoked; mismatch; in_flight, image or '', wait;
--      exhausted, needed, remaining, budget, now, window, a moment that lies in the latest window;
--      replays, limit of the day, now

local account_key, events, holds, leases, held_images, calls, paid, days = unpack(KEYS)
local now = now_ms()
local account = read_account(account_key)
if not still_has(account, events, tonumber(ARGV[1]), ARGV[2]) then return { 'rolled_back' } end
if account == nil then return { 'unknown' } end
if account.revoked == 1 then return { 'revoked' } end
local hold_id, lease, idempotency_key, body_digest, revision = ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
local images = images_in(ARGV[8])

if not paid_is_whole(account_key, paid, revision) then
  return redis.error_reply('BROKEN images that were paid are no longer on record')
end
drop_expired(account_key, holds, leases, held_images, calls, now)
account.held = tonumber(redis.call('HGET', account_key, 'held'))

-- As long again as the other request has taken so far: waiting grows with what is waited for.
local function in_flight(image, other)
  local hold, lease = redis.call('HGET', holds, other), redis.call('ZSCORE', leases, other)
  if not hold or not lease then return redis.error_reply('BROKEN an image is held by a hold that is gone') end
  local created, left = tonumber(string.match(hold, '^%d+ (%d+) ')), tonumber(lease) - now
  return { 'in_flight', image, math.max(tonumber(ARGV[11]), math.min(now - created, left, tonumber(ARGV[12]))) }
end

local call, repeated = '', false
if idempotency_key ~= '' then
  call = revision .. idempotency_key
  local seen = redis.call('HGET', calls, call) -- 32 characters of a hold's id, or '-' once settled; body digest
  if seen then
    local other, body = string.match(seen, '^(%S+) (.*)$')
    if body ~= body_digest then return { 'mismatch' } end
    if other ~= '-' then return in_flight('', other) end
    repeated = true
  end
end

local to_pay, flags = {}, {}
local paid_before = (account.billing == 'every-call' and not repeated) and {} or in_chunks('HMGET', paid, images)
for at, image in ipairs(images) do
  local pay = not paid_before[at]
  flags[at] = pay and '1' or '0'
  if pay then to_pay[#to_pay + 1] = image end
end
flags = table.concat(flags)

if account.billing == 'distinct' then
  local fields = {}
  for at, image in ipairs(to_pay) do fields[at] = revision .. image end
  for at, other in ipairs(in_chunks('HMGET', held_images, fields)) do
    if other then return in_flight(to_pay[at], other) end
  end
end

-- What is delivered now is dated in the latest window, which begins later where the clock was set back.
local dated = math.max(now, window_start_ms(account))

local replays = #images - #to_pay
if replays > 0 then -- each is a record, and free: what one key may add in a day is bounded
  local limit = math.max(tonumber(ARGV[9]), tonumber(ARGV[10]) * account.budget)
  local today = string.format('%d replayed', math.floor(dated / WINDOW_MS.day))
  if tonumber(redis.call('HGET', days, today) or '0') + replays > limit then
    return { 'replays', limit, now, dated }
  end
end

local current = math.max(account.window_index, window_index(account.window, now))
local used = current > account.window_index and 0 or account.used_in_window
local remaining = account.budget - used - account.held
if #to_pay > remaining then
  return { 'exhausted', #to_pay, remaining, account.budget, now, account.window, dated }
end
-- Nothing to keep from others: the replica alone remembers this hold.
if #to_pay == 0 and (call == '' or repeated) then
  return { 'replay', chain_end(account), now + lease, flags }
end

if #to_pay > 0 and current > account.window_index then
  redis.call('HSET', account_key, 'window_index', current, 'used_in_window', 0)
  account.window_index = current
end
if repeated then call = '' end -- should this repetition fail, the settled call must stay on record
redis.call('HINCRBY', account_key, 'held', #to_pay)
redis.call('ZADD', leases, now + lease, hold_id)
redis.call('HSET', holds, hold_id,
  string.format('%d %d %d ', #to_pay, now, #call) .. call .. revision .. table.concat(to_pay))
if account.billing == 'distinct' then
  local pairs_ = {}
  for _, image in ipairs(to_pay) do
    pairs_[#pairs_ + 1] = revision .. image
    pairs_[#pairs_ + 1] = hold_id
  end
  in_chunks('HSET', held_images, pairs_)
end
if call ~= '' then redis.call('HSET', calls, call, hold_id .. ' ' .. body_digest) end
return { 'held', chain_end(account), now + lease, flags }
