-- Who speaks, and does the store know less of the lease than its owner? Then writes were lost: the owner tells again.

-- A lease only goes forward; D without the upstream's id is behind D with it.
local RANK = { R = 1, C = 2, S = 3, U = 4, A = 5, D = 6 }

-- Is the lease, as the store has it under this very token, behind what its owner knows?
local function is_behind(at, remote, bound, owner_state, owner_remote, execution)
  return RANK[at] < RANK[owner_state] or (owner_remote ~= '' and remote == '') or (execution ~= '' and bound == '')
end

-- What one is told who speaks with `token` and knows the lease to be in `state`, under the upstream's id `remote` or '',
-- bound to `execution` (or '' to be taken for its owner): 'ours' | 'stale' (a newer delivery or another execution of this
-- one owns the job, or this one is over) | 'rolled_back' (re-assert, and ask again).
-- Lease and record change in one step, and the record keeps the last token minted. If that is the caller's own, a lease
-- that is missing was given back; if it is newer, so is the owner; if it is older, or there is no record, this store never
-- heard of the caller's: only lost writes can do that. A claim that they took may have been made again by another.
local function standing(job, token, state, remote, execution)
  local held, at, known, bound = fields(lease_key(job), 'token', 'state', 'remote', 'execution')
  if held == token then
    if execution ~= '' and bound ~= '' and bound ~= execution then return 'stale' end
    if not is_behind(at, known, bound, state, remote, execution) then return 'ours' end
  else
    local last, status = fields(job_key(job), 'token', 'status')
    local is_older_version = status ~= '' and last == ''
    if is_older_version or (tonumber(last) or 0) >= tonumber(token) then return 'stale' end
  end
  if learning_ms() == 0 then open_learning('an owner knows more than the store') end
  return 'rolled_back'
end
