-- Stands before every script: the keys, the shape of a record, and the only two ways to write a change.
local META, INSTANCES, LEASES, DRAINS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local CHANGES, GONE, EXPIRED, STALE = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
-- A follower that is further behind reads the whole hash.
local STREAM_LENGTH = 65536
-- Removals that are remembered, so that nobody revives what its owner took away.
local GONE_LENGTH = 10000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers are below 2^53, so a double holds them; 20 digits make their order that of strings.
local function padded(number) return string.format('%020.0f', number) end
local function plain(number) return string.format('%.0f', number) end

-- A record is 20 digits each of the revision that wrote it, its generation and its incarnation, then JSON.
local function modified_of(record) return string.sub(record, 1, 20) end
local function generation_of(record) return string.sub(record, 21, 40) end
local function incarnation_of(record) return string.sub(record, 41, 60) end
local function json_of(record) return string.sub(record, 61) end

local function legacy_key(key)
  local name = string.match(key, '^(.*)/@legacy$')
  return name and 'services:' .. name, name
end

local function publish(revision, ...)
  redis.call('XADD', CHANGES, 'MAXLEN', '~', STREAM_LENGTH, plain(revision) .. '-0',
    'e', redis.call('HGET', META, 'epoch'), ...)
end

-- A generation for a new holder: the proposed one, which is higher than any that its replica has seen, unless this
-- record had a higher one. So a call that is done after its writer gave up does what the writer did alone.
local function draw(key, record, proposed)
  local generation = tonumber(proposed)
  if record then generation = math.max(generation, tonumber(generation_of(record)) + 1) end
  local gone = redis.call('ZSCORE', GONE, key)
  if gone then generation = math.max(generation, tonumber(gone) + 1) end
  return generation
end

-- The original's keys: the same three commands as its own registration.
local function write_legacy(key, legacy)
  local hash, name = legacy_key(key)
  if not hash or legacy.endpoint == '' then return end
  redis.call('HSET', hash, 'endpoint', legacy.endpoint, 'health_endpoint', legacy.health,
    'metadata', legacy.metadata, 'registered_at', legacy.registered_at,
    'last_heartbeat', plain(math.floor(now_ms() / 1000)) .. '.0')
  redis.call('EXPIRE', hash, legacy.ttl_s)
  redis.call('SADD', 'services:index', name)
end

-- drain: '' as it is, '-' none, else milliseconds from now. lease_ms: '' as it is.
local function put(key, before, generation, incarnation, json, lease_ms, drain)
  local lease, stale
  if before then
    local member = generation_of(before) .. ':' .. key
    lease = redis.call('ZSCORE', LEASES, member)
    stale = redis.call('ZSCORE', STALE, member)
    redis.call('ZREM', LEASES, member)
    redis.call('ZREM', STALE, member)
  end
  local now = now_ms()
  if lease_ms ~= '' then lease, stale = now + tonumber(lease_ms), nil end
  local revision = redis.call('HINCRBY', META, 'revision', 1)
  local last = tonumber(redis.call('HGET', META, 'generation') or '0')
  redis.call('HSET', META, 'generation', plain(math.max(last, generation)))
  local record = padded(revision) .. padded(generation) .. incarnation .. json
  redis.call('HSET', INSTANCES, key, record)
  local member = padded(generation) .. ':' .. key
  -- A lease that ran out and was marked stale is not among the leases any more, until it is renewed.
  if stale then redis.call('ZADD', STALE, stale, member) else redis.call('ZADD', LEASES, lease or now, member) end
  redis.call('ZREM', GONE, key)
  if drain == '-' then
    redis.call('ZREM', DRAINS, key)
  elseif drain ~= '' then
    redis.call('ZADD', DRAINS, now + tonumber(drain), key)
  end
  publish(revision, 'o', 'put', 'k', key, 'v', record)
  return revision
end

local function bury(key, generation)
  redis.call('ZADD', GONE, tonumber(generation), key)
  local over = redis.call('ZCARD', GONE) - GONE_LENGTH
  if over > 0 then redis.call('ZREMRANGEBYRANK', GONE, 0, over - 1) end
end

local function remove(key, record, reason, legacy)
  local generation = generation_of(record)
  redis.call('HDEL', INSTANCES, key)
  redis.call('ZREM', LEASES, generation .. ':' .. key)
  redis.call('ZREM', STALE, generation .. ':' .. key)
  redis.call('ZREM', DRAINS, key)
  if reason ~= 'expired' then bury(key, generation) end
  local hash, name = legacy_key(key)
  if legacy and hash then
    redis.call('DEL', hash)
    redis.call('SREM', 'services:index', name)
  end
  local revision = redis.call('HINCRBY', META, 'revision', 1)
  publish(revision, 'o', 'remove', 'k', key, 'g', generation, 'r', reason)
  return revision
end

