-- Appends a grant or a revocation, if the chain still ends where the caller believes. A revocation drops all holds.
-- KEYS: account, events, holds, leases, held images, calls
-- ARGV: end seq, end head, queries granted or '' to revoke, record, hash
-- Out: {'amended'} or {'moved'}

local account_key, events, holds, leases, held_images, calls = unpack(KEYS)
local account = read_account(account_key)
local seq = tonumber(ARGV[1])
if account == nil or account.seq ~= seq or account.head ~= ARGV[2] then return { 'moved' } end
redis.call('XADD', events, string.format('1-%d', seq + 1), 'record', ARGV[4], 'hash', ARGV[5])
if ARGV[3] ~= '' then
  redis.call('HINCRBY', account_key, 'budget', ARGV[3])
else
  for _, hold_id in ipairs(redis.call('HKEYS', holds)) do
    drop_hold(account_key, holds, leases, held_images, calls, hold_id)
  end
  redis.call('HSET', account_key, 'revoked', 1)
end
redis.call('HSET', account_key, 'seq', seq + 1, 'head', ARGV[5])
return { 'amended' }
