-- Reads an account and the time, to build a record that follows.      KEYS: account, events
-- ARGV: seen seq, seen head
-- Out: {'found', chain end, now, budget, revoked} or {'unknown'} or {'rolled_back'}

local account = read_account(KEYS[1])
if not still_has(account, KEYS[2], tonumber(ARGV[1]), ARGV[2]) then return { 'rolled_back' } end
if account == nil then return { 'unknown' } end
return { 'found', chain_end(account), now_ms(), account.budget, account.revoked }
