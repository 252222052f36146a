-- One change, if the record is still the one that the caller decided upon.
-- ARGV: epoch, key, expected 20 digits of the record's revision ('' for none), 'put' or 'remove',
--   generation (a proposed one to draw anew, '' to keep), incarnation (20 digits), JSON, lease_ms, drain, reason,
--   legacy: '' or '1', endpoint, health, metadata, registered_at, ttl_s
-- Returns {'ok', revision, generation}, {'changed', record or ''} or {'epoch'}.
if redis.call('HGET', META, 'epoch') ~= ARGV[1] then return { 'epoch' } end
local key = ARGV[2]
local record = redis.call('HGET', INSTANCES, key)
local modified = record and modified_of(record) or ''
if modified ~= ARGV[3] then return { 'changed', record or '' } end
local legacy = ARGV[11] == '1'
if ARGV[4] == 'remove' then
  local revision = remove(key, record, ARGV[10], legacy)
  return { 'ok', plain(revision), generation_of(record) }
end
local generation
if ARGV[5] == '' then generation = tonumber(generation_of(record)) else generation = draw(key, record, ARGV[5]) end
local revision = put(key, record, generation, ARGV[6], ARGV[7], ARGV[8], ARGV[9])
if legacy then
  write_legacy(key, { endpoint = ARGV[12], health = ARGV[13], metadata = ARGV[14],
    registered_at = ARGV[15], ttl_s = ARGV[16] })
end
return { 'ok', plain(revision), padded(generation) }
