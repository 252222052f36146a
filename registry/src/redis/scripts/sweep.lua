-- Removes what ran out, a bounded batch by the server's clock; any replica may call it, and several may at once.
-- ARGV: epoch, batch, grace_ms, pause_ms, legacy ('' or '1'), window_ms, patience_ms
-- Returns {'ok', now, grace_until, preserving, removed} or {'epoch'}.
if redis.call('HGET', META, 'epoch') ~= ARGV[1] then return { 'epoch' } end
local batch, grace, pause = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local legacy, window, patience = ARGV[5] == '1', tonumber(ARGV[6]), tonumber(ARGV[7])
local now = now_ms()
local swept = tonumber(redis.call('HGET', META, 'swept_at') or '0')
local grace_until = tonumber(redis.call('HGET', META, 'grace_until') or '0')
redis.call('HSET', META, 'swept_at', plain(now))
if now - swept > pause or now < swept - pause then
  -- Redis stood still, its clock jumped, or nobody swept: nobody could renew.
  grace_until = math.max(grace_until, now + grace)
  redis.call('HSET', META, 'grace_until', plain(grace_until))
end
local removed = 0
for _, key in ipairs(redis.call('ZRANGEBYSCORE', DRAINS, '-inf', now, 'LIMIT', 0, batch)) do
  local record = redis.call('HGET', INSTANCES, key)
  if record then remove(key, record, 'drained', legacy) else redis.call('ZREM', DRAINS, key) end
  removed = removed + 1
end
if now < grace_until then return { 'ok', plain(now), plain(grace_until), 0, removed } end

-- An entry of the original's that still lives there is alive here.
local function renewed_by_original(key, member)
  local hash = legacy and legacy_key(key)
  if not hash or redis.call('HEXISTS', hash, 'endpoint') == 0 then return false end
  local left = redis.call('PTTL', hash)
  if left <= 0 then return false end
  redis.call('ZADD', LEASES, now + left, member)
  return true
end

local due = redis.call('ZCOUNT', LEASES, '-inf', now)
if due == 0 then return { 'ok', plain(now), plain(grace_until), 0, removed } end
redis.call('ZREMRANGEBYSCORE', EXPIRED, '-inf', now - window)
local recent = redis.call('ZCARD', EXPIRED)
local live = redis.call('ZCARD', LEASES)
-- Too many at once are more likely a cut network than so many deaths: only what is long overdue goes.
local preserving = due + recent > math.max(5, 0.15 * (live + recent))
local horizon = preserving and now - patience or now
for _, member in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', horizon, 'LIMIT', 0, batch)) do
  local generation, key = string.sub(member, 1, 20), string.sub(member, 22)
  local record = redis.call('HGET', INSTANCES, key)
  if not record or generation_of(record) ~= generation then
    redis.call('ZREM', LEASES, member)
  elseif not renewed_by_original(key, member) then
    local revision = remove(key, record, 'expired', legacy)
    redis.call('ZADD', EXPIRED, now, plain(revision))
  end
  removed = removed + 1
end
return { 'ok', plain(now), plain(grace_until), preserving and 1 or 0, removed }
