-- A replica comes (back). Draws a new epoch if Redis is not the one that the epoch was drawn on, or went back.
-- ARGV: known epoch ('' none), known revision, replication id, candidate for a new epoch, grace_ms
-- Returns {epoch, revision, grace_until, now, generation}.
local epoch = redis.call('HGET', META, 'epoch')
local replication = redis.call('HGET', META, 'replication')
local revision = tonumber(redis.call('HGET', META, 'revision') or '0')
local now = now_ms()
if not epoch or replication ~= ARGV[3] or (epoch == ARGV[1] and revision < tonumber(ARGV[2])) then
  local top = math.max(revision, tonumber(ARGV[2]))
  local last = redis.call('XREVRANGE', CHANGES, '+', '-', 'COUNT', 1)
  if last[1] then top = math.max(top, tonumber(string.match(last[1][1], '^%d+'))) end
  -- Higher than any revision that another replica may still know of the time before.
  revision = (math.floor(top / 1000000) + 1) * 1000000
  epoch = ARGV[4]
  redis.call('HSET', META, 'epoch', epoch, 'revision', plain(revision), 'replication', ARGV[3],
    'grace_until', plain(now + tonumber(ARGV[5])), 'swept_at', plain(now))
  publish(revision, 'o', 'epoch')
end
local grace_until = redis.call('HGET', META, 'grace_until') or '0'
return { epoch, plain(revision), grace_until, plain(now), redis.call('HGET', META, 'generation') or '0' }
