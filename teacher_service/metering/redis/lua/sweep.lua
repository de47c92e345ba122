-- Releases expired holds, and forgets settled calls that were made longer ago than a time in milliseconds.
-- KEYS: account, holds, leases, held images, calls, calls by age      ARGV: keep calls for
-- Calls billed each time are not in "calls by age": forgetting one would make a lost answer cost twice.

local account_key, holds, leases, held_images, calls, calls_by_age = unpack(KEYS)
local now = now_ms()
drop_expired(account_key, holds, leases, held_images, calls, now)
local before = '(' .. (now - tonumber(ARGV[1]))
local old = redis.call('ZRANGE', calls_by_age, '-inf', before, 'BYSCORE', 'LIMIT', 0, CHUNK)
in_chunks('HDEL', calls, old)
in_chunks('ZREM', calls_by_age, old)
return {}
