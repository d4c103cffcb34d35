"""Creates the stack offline, in an emulator of AWS, and runs the real functions in it.

| module | subject |
|---|---|
| `adapt` | what must be different in the template for the emulator, and why |
| `emulator` | ministack as a child process |
| `proxy` | what each function calls, and faults in it |
| `resolve` | the template's intrinsic functions, answered from a created stack |
| `stack` | a stack: created, updated, deleted, asked |
| `described` | whether what was created is what the template says |
| `deliveries` | signed requests, and the state that results |
| `stripe` | Stripe's API, as far as the consumer asks it |
| `run` | the ground that scenarios stand on, and how they are counted |
| `secrets`, `events`, `failures`, `doors`, `access`, `permissions`, `logs`, `life` | the scenarios |

What this cannot show is what the emulator does not do: it enforces no permissions, reads no metrics and shifts no
traffic. `described` names each property that it could not find again.
"""
