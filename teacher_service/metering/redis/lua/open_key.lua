-- Writes a new key and its genesis record, unless the key exists.
-- KEYS: account, events      ARGV: record, hash, then fields and values of the account
-- Out: {'opened'} or {'exists'}

if redis.call('EXISTS', KEYS[1]) == 1 then return { 'exists' } end
redis.call('XADD', KEYS[2], '1-0', 'record', ARGV[1], 'hash', ARGV[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return { 'opened' }
