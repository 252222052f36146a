-- Counters of one limit each: adds what was admitted elsewhere, and says how far each is ahead of now.
-- KEYS: the counters. ARGV, two for each: microseconds that one request takes, requests. A counter is the time, in
-- microseconds, when its requests would have come at the limit's own pace; one that has passed says as much as none.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local ahead = {}
for i, key in ipairs(KEYS) do
  local interval, requests = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local at = math.max(tonumber(redis.call('GET', key) or '0'), now) + interval * requests
  if at > now then
    redis.call('SET', key, string.format('%.2f', at), 'PX', math.ceil((at - now) / 1000))
  else
    redis.call('DEL', key)
    at = now
  end
  ahead[i] = math.floor(at - now)
end
return ahead
