# Beside the guest `conform`: does what only a toolstack can. The guest writes `N ACTION` to data/request, the answer in
# data/answer is `N done` or `N unable WHY`. A detachment is answered when it has begun: the guest takes part in it.
until id=$(xlr domid conform 2> /dev/null); do sleep 0.2; done
home=/local/domain/$id

act() {
    # What the last detachment began is over first.
    wait
    case $1 in
        block-detach | network-detach) xlr "$1" conform "$2" > /tmp/detached 2>&1 & ;;
        block-attach) xlr block-attach conform 'format=raw, vdev=xvda, access=rw, target=/tmp/conform.img' ;;
        network-attach) xlr network-attach conform bridge=xenbr0 ;;
        backend-kill)
            case $2 in
                vbd) kill -9 $(pidof blkd) || { echo "Linux's own backend does not die" && false; } ;;
                console) kill -9 $(pidof xenconsoled) ;;
                *) echo "Linux's own backend does not die" && false ;;
            esac
            ;;
        *) false ;;
    esac
}

last=
while request=$(xenstore read "$home/data/request" 2> /dev/null) || xlr domid conform > /dev/null 2>&1; do
    if [ -n "$request" ] && [ "$request" != "$last" ]; then
        last=$request
        if act ${request#* } > /tmp/acted 2>&1; then
            answer=done
        else
            answer="unable $(tail -n 1 /tmp/acted)"
        fi
        echo "$request: $answer"
        xenstore write "$home/data/answer" "${request%% *} $answer"
    fi
    sleep 0.1
done
exit 0
