;; Wants something of its host that no host has.
(module
  (import "env" "summon" (func $summon))
  (memory (export "memory") 1)
  (func (export "_start") (call $summon)))
