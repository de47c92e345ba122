-- Gives holds back; those that are gone are passed over.
-- KEYS: account, holds, leases, held images, calls      ARGV: hold ids

local account_key, holds, leases, held_images, calls = unpack(KEYS)
for _, hold_id in ipairs(ARGV) do drop_hold(account_key, holds, leases, held_images, calls, hold_id) end
return {}
