-- Finds what ran out, a bounded batch by the server's clock; removes only what has drained. Any replica may call it, and
-- several at once.
-- ARGV: epoch, batch, grace_ms, pause_ms, legacy ('' or '1'), patience_ms
-- Returns {'ok', now, grace_until, phase, counting, 1 if there may be more, overdue, members of the overdue, the longest
-- overdue first, then of those whose time as stale is over} or {'epoch'}.
if redis.call('HGET', META, 'epoch') ~= ARGV[1] then return { 'epoch' } end
local batch, grace, pause = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local legacy, patience = ARGV[5] == '1', tonumber(ARGV[6])
local now = now_ms()
local swept = tonumber(redis.call('HGET', META, 'swept_at') or '0')
local grace_until = tonumber(redis.call('HGET', META, 'grace_until') or '0')
redis.call('HSET', META, 'swept_at', plain(now))
if now - swept > pause or now < swept - pause then
  -- Redis stood still, its clock jumped, or nobody swept: nobody could renew.
  grace_until = math.max(grace_until, now + grace)
  redis.call('HSET', META, 'grace_until', plain(grace_until))
end
local drained = redis.call('ZRANGEBYSCORE', DRAINS, '-inf', now, 'LIMIT', 0, batch)
for _, key in ipairs(drained) do
  local record = redis.call('HGET', INSTANCES, key)
  if record then remove(key, record, 'drained', legacy) else redis.call('ZREM', DRAINS, key) end
end
local phase = redis.call('HGET', META, 'phase') or 'watching'
redis.call('ZREMRANGEBYSCORE', EXPIRED, '-inf', now)
local full = #drained == batch and 1 or 0
local found = { 'ok', plain(now), plain(grace_until), phase, redis.call('ZCARD', EXPIRED), full, 0 }
if now < grace_until then return found end

-- An entry of the original's that still lives there is alive here.
local function renewed_by_original(key, member)
  local hash = legacy and legacy_key(key)
  if not hash or redis.call('HEXISTS', hash, 'endpoint') == 0 then return false end
  local left = redis.call('PTTL', hash)
  if left <= 0 then return false end
  redis.call('ZREM', STALE, member)
  redis.call('ZADD', LEASES, now + left, member)
  return true
end

-- Those of `set` up to `horizon` that are what their record says.
local function find(set, horizon)
  local members = redis.call('ZRANGEBYSCORE', set, '-inf', horizon, 'LIMIT', 0, batch)
  local count = 0
  for _, member in ipairs(members) do
    local generation, key = string.sub(member, 1, 20), string.sub(member, 22)
    local record = redis.call('HGET', INSTANCES, key)
    if not record or generation_of(record) ~= generation then
      redis.call('ZREM', set, member)
    elseif not renewed_by_original(key, member) then
      found[#found + 1] = member
      count = count + 1
    end
  end
  if #members == batch then found[6] = 1 end
  return count
end

found[7] = find(LEASES, now)
-- While too much is lost at once only what has been stale for long goes.
find(STALE, string.sub(phase, 1, 10) == 'preserving' and now - patience or now)
return found
