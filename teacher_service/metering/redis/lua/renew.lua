-- Prolongs the leases of holds whose requests are still at work; one that has ended stays ended.
-- KEYS: leases      ARGV: lease in milliseconds, hold ids

local leases, now = KEYS[1], now_ms()
for at = 2, #ARGV do
  local expires = redis.call('ZSCORE', leases, ARGV[at])
  if expires and tonumber(expires) > now then redis.call('ZADD', leases, now + tonumber(ARGV[1]), ARGV[at]) end
end
return {}
