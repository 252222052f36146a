-- What a replica holds and Redis may not know: written unless Redis knows better.
-- ARGV: as change.lua, but the generation is the one that is held (20 digits) in both cases, and the expected revision
-- matters only between two contents of one generation.
-- Returns {'ok', revision, generation}, {'kept'} or {'epoch'}.
if redis.call('HGET', META, 'epoch') ~= ARGV[1] then return { 'epoch' } end
local key, ours = ARGV[2], ARGV[5]
local record = redis.call('HGET', INSTANCES, key)
local legacy = ARGV[11] == '1'
if ARGV[4] == 'remove' then
  if record and generation_of(record) <= ours then
    local revision = remove(key, record, ARGV[10], legacy)
    -- The generation that went may be higher than the one that Redis went back to.
    bury(key, ours)
    return { 'ok', plain(revision), ours }
  end
  if not record then bury(key, ours) end
  return { 'kept' }
end
local gone = redis.call('ZSCORE', GONE, key)
if gone and tonumber(gone) >= tonumber(ours) then return { 'kept' } end
local generation = tonumber(ours)
if record then
  local theirs = generation_of(record)
  if incarnation_of(record) > ARGV[6] then return { 'kept' } end
  if theirs > ours then
    if incarnation_of(record) == ARGV[6] then return { 'kept' } end
    generation = draw(key, record, ours)
  elseif theirs == ours and (json_of(record) == ARGV[7] or modified_of(record) ~= ARGV[3]) then
    return { 'kept' }
  end
end
local revision = put(key, record, generation, ARGV[6], ARGV[7], ARGV[8], ARGV[9])
if legacy then
  write_legacy(key, { endpoint = ARGV[12], health = ARGV[13], metadata = ARGV[14],
    registered_at = ARGV[15], ttl_s = ARGV[16] })
end
return { 'ok', plain(revision), padded(generation) }
