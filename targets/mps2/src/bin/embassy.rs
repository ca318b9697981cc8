//! The image in asynchronous tasks: puts board, embassy and application together.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("embassy: this program runs on a Cortex-M3; see targets/README.md");
    std::process::exit(2);
}

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    device::run()
}

#[cfg(target_os = "none")]
mod device {
    use core::mem::MaybeUninit;

    use embassy_executor::{Executor, SpawnError, Spawner};
    use embassy_net::{Config, Runner, Stack, StackResources};
    use fedmsg_mps2::{
        agenda::Agenda,
        app::{Owner, RING},
        author::Author,
        board::{self, Ethernet, Static},
        embassy::{Device, RECEIVE, SEND, SOCKETS},
        start,
    };

    /// The sockets, and those of DHCP and of the time.
    type Resources = StackResources<{ SOCKETS + 2 }>;
    type Buffers = ([u8; RECEIVE], [u8; SEND]);

    static EXECUTOR: Static<MaybeUninit<Executor>> = Static::new(MaybeUninit::uninit());
    static RESOURCES: Static<MaybeUninit<Resources>> = Static::new(MaybeUninit::uninit());
    static MESSAGES: Static<[u8; RING]> = Static::new([0; RING]);
    static DEVICE: Static<MaybeUninit<Device>> = Static::new(MaybeUninit::uninit());
    static AUTHOR: Static<MaybeUninit<Author>> = Static::new(MaybeUninit::uninit());
    static BUFFERS: Static<[Buffers; SOCKETS]> = Static::new([([0; RECEIVE], [0; SEND]); SOCKETS]);

    pub(crate) fn run() -> ! {
        let (Some(_), Some(executor)) = (board::start(), EXECUTOR.give()) else {
            board::restart()
        };
        executor.write(Executor::new()).run(|spawner| {
            if spawn(spawner).is_none() {
                defmt::error!("this device does nothing");
            }
        })
    }

    fn spawn(spawner: Spawner) -> Option<()> {
        let mut owner = start::read()?;
        start::check_network(&owner)?;
        let (stack, runner) = network(owner.provision.mac, owner.random.draw_u64())?;
        let agenda = Agenda::new(owner.provision.period_ms);
        let author = author(&owner)?;
        let device = device(owner)?;
        let started = || -> Result<(), SpawnError> {
            spawner.spawn(net(runner)?);
            spawner.spawn(watch(device, stack)?);
            spawner.spawn(keep_time(device, stack)?);
            for buffers in BUFFERS.give().into_iter().flatten().take(device.sockets()) {
                spawner.spawn(connect(device, stack, buffers)?);
            }
            spawner.spawn(speak(device, agenda, author)?);
            Ok(())
        };
        started().ok()
    }

    // What each of these has on the stack is gone before there is more.

    #[inline(never)]
    fn network(mac: [u8; 6], random: u64) -> Option<(Stack<'static>, Runner<'static, Ethernet>)> {
        let Some(ethernet) = board::ethernet(mac) else {
            defmt::error!("no Ethernet controller");
            return None;
        };
        let resources = RESOURCES.give()?.write(StackResources::new());
        let config = Config::dhcpv4(Default::default());
        Some(embassy_net::new(ethernet, config, resources, random))
    }

    #[inline(never)]
    fn author(owner: &Owner) -> Option<&'static mut Author> {
        let author = Author::new(&owner.provision, board::SENSES);
        Some(AUTHOR.give()?.write(author))
    }

    #[inline(never)]
    fn device(owner: Owner) -> Option<&'static Device> {
        let device = Device::new(owner, MESSAGES.give()?);
        Some(DEVICE.give()?.write(device))
    }

    #[embassy_executor::task]
    async fn net(mut runner: Runner<'static, Ethernet>) {
        runner.run().await
    }

    #[embassy_executor::task]
    async fn watch(device: &'static Device, stack: Stack<'static>) {
        device.watch(stack).await;
    }

    #[embassy_executor::task]
    async fn keep_time(device: &'static Device, stack: Stack<'static>) {
        device.keep_time(stack).await;
    }

    #[embassy_executor::task(pool_size = SOCKETS)]
    async fn connect(
        device: &'static Device,
        stack: Stack<'static>,
        buffers: &'static mut Buffers,
    ) {
        let (receive, send) = buffers;
        device.connect(stack, receive, send).await;
    }

    #[embassy_executor::task]
    async fn speak(device: &'static Device, mut agenda: Agenda, author: &'static mut Author) {
        let console = board::console::read;
        device
            .speak(&mut agenda, author, console, board::console::ready)
            .await;
    }
}
