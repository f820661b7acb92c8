//! A scripted LwM2M device, a seeded network and a world that runs everything in virtual time.
