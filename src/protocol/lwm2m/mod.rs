//! LwM2M on top of CoAP: registration, operations and observations as data (Core and Transport TS 1.2.2).
