-- An operator ends self-preservation. ARGV: epoch
-- Returns {'ok', 1 if there was anything to end, else 0} or {'epoch'}.
if redis.call('HGET', META, 'epoch') ~= ARGV[1] then return { 'epoch' } end
local phase = redis.call('HGET', META, 'phase') or 'watching'
if string.sub(phase, 1, 10) ~= 'preserving' then return { 'ok', 0 } end
redis.call('HSET', META, 'phase', 'released')
return { 'ok', 1 }
