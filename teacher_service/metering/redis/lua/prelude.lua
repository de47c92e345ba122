-- Shared by all scripts. Times: milliseconds since 1970, of the server's own clock. Amounts: queries.
-- Images and revisions: 32 raw bytes each, concatenated. Hashes: 64 hexadecimal digits.
-- A hold is the text "<charges> <created ms> <length of call> " .. call .. revision .. images, where call is the
-- field of its idempotency key, if it has one. A script checks everything before it writes anything.

local WINDOW_MS = { hour = 3600000, day = 86400000 }
local CHUNK = 1000 -- fields in one command: Lua passes only a few thousand arguments

local function images_in(text)
  local images = {}
  for at = 1, #text, 32 do images[#images + 1] = string.sub(text, at, at + 31) end
  return images
end

-- Calls command(key, ...) for parts of a long list; joins what the calls return.
local function in_chunks(command, key, list)
  local results = {}
  for first = 1, #list, CHUNK do
    local part = redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, #list)))
    if type(part) == 'table' then
      for _, value in ipairs(part) do results[#results + 1] = value end
    end
  end
  return results
end

local function window_index(window, at_ms)
  return window == 'total' and 0 or math.floor(at_ms / WINDOW_MS[window])
end

-- The account, or nil for an unknown key.
local function read_account(key)
  local names = { 'billing', 'window', 'budget', 'used', 'used_in_window', 'window_index', 'held', 'revoked',
    'seq', 'head' }
  local values = redis.call('HMGET', key, unpack(names))
  if not values[1] then return nil end
  local account = { billing = values[1], window = values[2], head = values[10] }
  for at = 3, 9 do account[names[at]] = tonumber(values[at]) end
  return account
end

-- Whether the store still holds the record that the caller has seen; if not, it was rolled back.
local function still_has(account, events, seen_seq, seen_head)
  if seen_seq < 0 then return true end
  if account == nil or account.seq < seen_seq then return false end
  if account.seq == seen_seq then return account.head == seen_head end
  local id = '1-' .. string.format('%d', seen_seq)
  local entry = redis.call('XRANGE', events, id, id)[1]
  return entry ~= nil and entry[2][4] == seen_head
end

local function window_start_ms(account)
  return account.window == 'total' and 0 or account.window_index * WINDOW_MS[account.window]
end

-- Where the chain ends, as every reply tells it; no later record may claim to be older than the window.
local function chain_end(account)
  return { account.seq, account.head, account.used, window_start_ms(account) }
end

-- Ends a hold; returns its queries, its call and its images, or nil if it is gone.
local function take_hold(holds, leases, held_images, hold_id)
  local hold = redis.call('HGET', holds, hold_id)
  if not hold then return nil end
  local charges, call_length, at = string.match(hold, '^(%d+) %d+ (%d+) ()')
  local call = string.sub(hold, at, at + call_length - 1)
  local revision = string.sub(hold, at + call_length, at + call_length + 31)
  local images = images_in(string.sub(hold, at + call_length + 32))
  redis.call('HDEL', holds, hold_id)
  redis.call('ZREM', leases, hold_id)
  local fields = {}
  for at_image, image in ipairs(images) do fields[at_image] = revision .. image end
  in_chunks('HDEL', held_images, fields)
  return tonumber(charges), call
end

-- Whether all images that were ever paid under a revision are still on record, counted beside them. Should a
-- server that may evict have dropped them, they would be charged anew.
local function paid_is_whole(account_key, paid, revision)
  local counted = tonumber(redis.call('HGET', account_key, 'paid ' .. revision) or '0')
  return redis.call('HLEN', paid) == counted
end

-- Gives a hold back as if its request had never been.
local function drop_hold(account_key, holds, leases, held_images, calls, hold_id)
  local charges, call = take_hold(holds, leases, held_images, hold_id)
  if charges == nil then return end
  if charges > 0 then redis.call('HINCRBY', account_key, 'held', -charges) end
  if call ~= '' then redis.call('HDEL', calls, call) end
end

-- Gives back all that expired: with a part of it left, a request could be refused for a budget that is free.
local function drop_expired(account_key, holds, leases, held_images, calls, now)
  for _, expired in ipairs(redis.call('ZRANGE', leases, '-inf', now, 'BYSCORE')) do
    drop_hold(account_key, holds, leases, held_images, calls, expired)
  end
end
