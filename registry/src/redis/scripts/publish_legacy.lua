-- Shows an instance of ours to the original's replicas, if it is still the one that was read and they have none.
-- ARGV: key, expected 20 digits of the record's revision, endpoint, health, metadata, registered_at, ttl_s
local record = redis.call('HGET', INSTANCES, ARGV[1])
local hash = legacy_key(ARGV[1])
if not record or modified_of(record) ~= ARGV[2] or not hash then return 0 end
if redis.call('HEXISTS', hash, 'endpoint') == 1 then return 0 end
write_legacy(ARGV[1], { endpoint = ARGV[3], health = ARGV[4], metadata = ARGV[5], registered_at = ARGV[6],
  ttl_s = ARGV[7] })
return 1
