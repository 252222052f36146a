-- Does what a replica decided about leases that ran out, as far as it still holds.
-- ARGV: epoch, phase that it was decided in ('' any), phase from now on ('' the same), pace, legacy ('' or '1'), then of
-- each: what, key, expected 20 digits of the record's revision, JSON, counts_ms.
--   expire: overdue, it goes, and counts for counts_ms. mark: overdue, it is JSON from now on.
--   pass: stale for long enough, it goes, if less than pace went in this second. dead: stale, and proven to be dead.
-- Returns {'ok', revision, how many}, {'phase'} or {'epoch'}.
if redis.call('HGET', META, 'epoch') ~= ARGV[1] then return { 'epoch' } end
local phase = redis.call('HGET', META, 'phase') or 'watching'
-- Another replica has begun or ended self-preservation meanwhile.
if ARGV[2] ~= '' and ARGV[2] ~= phase then return { 'phase' } end
if ARGV[3] ~= '' then redis.call('HSET', META, 'phase', ARGV[3]) end
local now = now_ms()
local pace, legacy = tonumber(ARGV[4]), ARGV[5] == '1'
local second = plain(math.floor(now / 1000))
if redis.call('HGET', META, 'paced_s') ~= second then redis.call('HSET', META, 'paced_s', second, 'paced', 0) end

local done = 0
for i = 6, #ARGV, 5 do
  local what, key = ARGV[i], ARGV[i + 1]
  local record = redis.call('HGET', INSTANCES, key)
  if record and modified_of(record) == ARGV[i + 2] then
    local member = generation_of(record) .. ':' .. key
    local lease = redis.call('ZSCORE', LEASES, member)
    local over = lease and tonumber(lease) <= now
    local stale = redis.call('ZSCORE', STALE, member)
    local did = true
    if what == 'expire' and over then
      local revision = remove(key, record, 'expired', legacy)
      redis.call('ZADD', EXPIRED, now + tonumber(ARGV[i + 4]), plain(revision))
    elseif what == 'mark' and over then
      put(key, record, tonumber(generation_of(record)), incarnation_of(record), ARGV[i + 3], '', '')
      redis.call('ZREM', LEASES, member)
      redis.call('ZADD', STALE, now, member)
    elseif what == 'dead' and stale then
      remove(key, record, 'expired', legacy)
    elseif what == 'pass' and stale and redis.call('HINCRBY', META, 'paced', 1) <= pace then
      remove(key, record, 'expired', legacy)
    else
      did = false
    end
    if did then done = done + 1 end
  end
end
return { 'ok', redis.call('HGET', META, 'revision'), done }
