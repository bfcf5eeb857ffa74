  ;; What every guest of this folder has.
  (memory (export "memory") 2)
