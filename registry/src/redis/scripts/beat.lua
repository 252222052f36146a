-- A batch of heartbeats. ARGV: legacy ('' or '1'), then key, generation (20 digits), lease_ms, ttl_s of each.
-- A lease is found by its generation, so an old one renews nothing. A stale one is a lease again; its mark is taken back by
-- whoever heard it. Returns the positions (from 0) without a lease.
local now = now_ms()
local lost = {}
for i = 2, #ARGV, 4 do
  local key, member = ARGV[i], ARGV[i + 1] .. ':' .. ARGV[i]
  if redis.call('ZSCORE', LEASES, member) or redis.call('ZREM', STALE, member) == 1 then
    redis.call('ZADD', LEASES, now + tonumber(ARGV[i + 2]), member)
    local hash = ARGV[1] == '1' and legacy_key(key)
    -- Never a hash without an endpoint: the original's own race makes those.
    if hash and redis.call('HEXISTS', hash, 'endpoint') == 1 then
      redis.call('HSET', hash, 'last_heartbeat', plain(math.floor(now / 1000)) .. '.0')
      redis.call('EXPIRE', hash, ARGV[i + 3])
    end
  else
    lost[#lost + 1] = (i - 2) / 4
  end
end
return lost
